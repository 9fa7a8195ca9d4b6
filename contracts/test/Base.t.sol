// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccess} from "../src/interfaces/IAccess.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IMeter} from "../src/interfaces/IMeter.sol";
import {ISettings} from "../src/interfaces/ISettings.sol";
import {Signature} from "../src/interfaces/Types.sol";
import {Deployment} from "./Deployment.sol";

/// A deployment, the people who use it, and what they do there.
abstract contract Base is Deployment {
    address internal provider; // registers assets and operates them
    address internal affiliate; // controlled by somebody, where a test says so
    address internal developer; // acquires and redeems credits
    address internal relayer; // sends what others signed
    address internal stranger; // not a member
    uint256 private _serial;

    function setUp() public virtual {
        vm.warp(START);
        vm.roll(1_000);
        attesterKeys = _keys("attester", 3);
        appraiserKeys = _keys("appraiser", 3);
        provider = _actor("provider");
        affiliate = _actor("affiliate");
        developer = _actor("developer");
        relayer = _actor("relayer");
        stranger = _actor("stranger");

        publicKey(METER_KEY);
        publicKey(SESSION_KEY);

        _deploy();
        admit(provider);
        admit(affiliate);
        admit(developer);
    }

    /* MEMBERS */

    function isMember(address account) internal view returns (bool) {
        (, uint48 since,,) = members.memberOf(account);
        return since != 0;
    }

    function admit(address account) internal {
        admit(account, UNTIL);
    }

    function admit(address account, uint48 until) internal {
        IMembers.Admission memory a = IMembers.Admission(account, keccak256(abi.encode(account)), until, DEADLINE);
        members.admit(a, attested(hashOf(a)));
    }

    function attach(address member, address controller) internal {
        IMembers.Attachment memory a = IMembers.Attachment(member, controller, members.nonces(member), DEADLINE);
        bytes32 digest = typed(membersDomain(), hashOf(a));
        bytes memory memberSignature = sign(keyOf[members.rootOf(member)], digest);
        members.attach(a, memberSignature, sign(keyOf[members.rootOf(controller)], digest));
    }

    /// On new evidence at each call.
    function find(address member, address controller) internal {
        bytes32 evidence = keccak256(abi.encode("evidence", ++_serial));
        IMembers.Finding memory f = IMembers.Finding(member, controller, evidence, DEADLINE);
        members.find(f, attested(hashOf(f)));
    }

    function startDetach(address member) internal {
        uint256 nonce = members.nonces(member);
        IMembers.Detachment memory d = IMembers.Detachment(member, keccak256("evidence"), nonce, DEADLINE);
        members.detach(d, attested(hashOf(d)));
    }

    /// With nobody objecting; the delay passes.
    function detach(address member) internal {
        startDetach(member);
        skipTo(block.timestamp + DETACH_DELAY);
        members.completeDetach(member);
    }

    function startRecovery(address member, address successor) internal {
        uint256 nonce = members.nonces(member);
        IMembers.Recovery memory r = IMembers.Recovery(member, successor, keccak256("evidence"), nonce, DEADLINE);
        members.recover(r, attested(hashOf(r)));
    }

    /// With no veto; the delay passes. What `member` has is still under its account.
    function recover(address member, address successor) internal {
        startRecovery(member, successor);
        skipTo(block.timestamp + RECOVERY_DELAY);
        members.completeRecovery(member);
    }

    function refuseGifts(address account) internal {
        vm.prank(account);
        members.refuseGifts(true);
    }

    /* THE COUNCIL */

    /// A change by the timelock, without the vote.
    function change(address target, bytes32 name, bytes32 subject, uint256 value) internal {
        vm.prank(system.timelock);
        ISettings(target).change(name, subject, value);
    }

    /// The whole way: proposed, voted for by the three groups of this file, waited for and executed.
    function decide(address target, bytes memory data) internal {
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) =
            (new address[](1), new uint256[](1), new bytes[](1));
        (targets[0], calls[0]) = (target, data);
        string memory why = vm.toString(++_serial);
        skipTo(block.timestamp + 1); // the proposer's vote is read one second before
        vm.prank(provider);
        uint256 proposal = council.propose(targets, values, calls, why);
        skipTo(council.proposalSnapshot(proposal) + 1);
        address[3] memory voters = [provider, affiliate, developer];
        for (uint256 i; i < voters.length; ++i) {
            vm.prank(voters[i]);
            council.castVote(proposal, 1);
        }
        skipTo(council.proposalDeadline(proposal) + 1);
        council.queue(targets, values, calls, keccak256(bytes(why)));
        skipTo(council.proposalEta(proposal));
        council.execute(targets, values, calls, keccak256(bytes(why)));
    }

    /* ASSETS */

    /// A machine of the provider: a new device and new evidence at each call.
    function machine(uint64 units) internal returns (ILedger.Appraisal memory a) {
        (a.meterKeyX, a.meterKeyY) = publicKey(METER_KEY);
        a.classId = GPUS;
        a.registrant = provider;
        a.contentHash = keccak256(abi.encode("evidence", ++_serial));
        a.resultHash = keccak256("result");
        a.policy = "development";
        a.units = units;
        a.level = 4;
        a.devices = new bytes32[](1);
        a.devices[0] = keccak256(abi.encode("device", _serial));
        a.expiresAt = EXPIRES;
        a.deadline = DEADLINE;
    }

    /// A dataset of the provider, with no node of its own.
    function dataset(uint64 units) internal returns (ILedger.Appraisal memory a) {
        a = machine(units);
        a.classId = TEXT;
        a.devices = new bytes32[](0);
        a.meterKeyX = 0;
        a.meterKeyY = 0;
    }

    function noShares() internal pure returns (ILedger.Share[] memory) {
        return new ILedger.Share[](0);
    }

    function oneShare(address owner, uint64 units) internal pure returns (ILedger.Share[] memory split) {
        split = new ILedger.Share[](1);
        split[0] = ILedger.Share(owner, units);
    }

    function twoShares(address owner, uint64 units, address other, uint64 otherUnits)
        internal
        pure
        returns (ILedger.Share[] memory split)
    {
        split = new ILedger.Share[](2);
        split[0] = ILedger.Share(owner, units);
        split[1] = ILedger.Share(other, otherUnits);
    }

    function register(ILedger.Appraisal memory a, ILedger.Share[] memory split) internal returns (uint256 asset) {
        return register(a, split, COMMONS_PRICE);
    }

    function register(ILedger.Appraisal memory a, ILedger.Share[] memory split, uint128 commonsPrice)
        internal
        returns (uint256 asset)
    {
        Signature[] memory quorum = appraised(a);
        vm.prank(a.registrant);
        return ledger.register(a, quorum, split, commonsPrice, "ipfs://manifest");
    }

    /// A machine of `units`, all of them `owner`'s as far as the limit goes.
    function registerMachine(address owner, uint64 units) internal returns (uint256 asset) {
        return register(machine(units), oneShare(owner, units));
    }

    /* CREDITS AND LEASES */

    function open(uint256 asset, uint32 window, uint128 price) internal returns (uint256 id) {
        vm.prank(provider);
        return access.open(asset, window, price == 0 ? 0 : 1, price);
    }

    function grant(uint256 id, address to, uint64 amount) internal {
        vm.prank(provider);
        access.grant(id, to, amount);
    }

    function fund(address account, address spender, uint256 amount) internal {
        assertTrue(coin.transfer(account, amount));
        vm.prank(account);
        coin.approve(spender, amount);
    }

    function buy(uint256 id, address buyer, uint64 amount) internal {
        (, uint128 price) = access.priceOf(id);
        fund(buyer, address(access), uint256(price) * amount);
        vm.prank(buyer);
        access.buy(id, amount, price);
    }

    function redemption(address holder, uint256 id, uint64 amount) internal returns (IAccess.Redemption memory r) {
        (r.keyX, r.keyY) = publicKey(SESSION_KEY);
        r.holder = holder;
        r.id = id;
        r.amount = amount;
        r.nonce = ++_serial;
        r.deadline = DEADLINE;
    }

    function redeem(address holder, uint256 id, uint64 amount) internal returns (bytes32 lease) {
        IAccess.Redemption memory r = redemption(holder, id, amount);
        vm.prank(holder);
        return access.redeem(r);
    }

    function splitting(bytes32 lease, uint64 amount, uint256 key) internal returns (IAccess.Split memory s) {
        (s.keyX, s.keyY) = publicKey(key);
        (s.lease, s.amount, s.deadline) = (lease, amount, DEADLINE);
        s.change = access.leaseOf(lease).changes;
    }

    function splitOff(bytes32 lease, uint64 amount, uint256 key) internal returns (bytes32 part) {
        IAccess.Split memory s = splitting(lease, amount, key);
        vm.prank(access.leaseOf(lease).holder);
        return access.split(s, "");
    }

    function toppingUp(bytes32 lease, uint64 amount) internal view returns (IAccess.TopUp memory) {
        return IAccess.TopUp(lease, amount, access.leaseOf(lease).changes, DEADLINE);
    }

    function topUp(bytes32 lease, uint64 amount) internal {
        IAccess.TopUp memory t = toppingUp(lease, amount);
        vm.prank(access.leaseOf(lease).holder);
        access.topUp(t, "");
    }

    function rotation(bytes32 lease, uint256 key) internal returns (IAccess.Rotation memory r) {
        (r.keyX, r.keyY) = publicKey(key);
        (r.lease, r.deadline) = (lease, DEADLINE);
        r.change = access.leaseOf(lease).changes;
    }

    function rotate(bytes32 lease, uint256 key) internal {
        IAccess.Rotation memory r = rotation(lease, key);
        vm.prank(access.leaseOf(lease).holder);
        access.rotate(r, "");
    }

    function receipt(bytes32 lease, uint64 gpuMs) internal view returns (IMeter.SignedReceipt memory) {
        return receiptBy(SESSION_KEY, lease, gpuMs);
    }

    /// By another session key than most leases have.
    function receiptBy(uint256 sessionKey, bytes32 lease, uint64 gpuMs)
        internal
        view
        returns (IMeter.SignedReceipt memory)
    {
        return signed(IMeter.Receipt(lease, gpuMs, keccak256(abi.encode(lease, gpuMs))), METER_KEY, sessionKey);
    }

    function signed(IMeter.Receipt memory r, uint256 meterKey, uint256 sessionKey)
        internal
        view
        returns (IMeter.SignedReceipt memory s)
    {
        bytes32 digest = sha256(abi.encodePacked(hex"1901", meterDomain(), hashOf(r)));
        s.receipt = r;
        s.keyNumber = access.leaseOf(r.lease).keyNumber;
        (s.nodeR, s.nodeS) = signP256(meterKey, digest);
        (s.sessionR, s.sessionS) = signP256(sessionKey, digest);
    }

    function batch(IMeter.SignedReceipt memory s) internal pure returns (IMeter.SignedReceipt[] memory list) {
        list = new IMeter.SignedReceipt[](1);
        list[0] = s;
    }

    function settle(bytes32 lease, uint64 gpuMs) internal {
        meter.settle(batch(receipt(lease, gpuMs)));
    }

    /// A lease of `amount` seconds in the present window, granted or bought.
    function leased(uint64 units, uint64 amount, uint128 price) internal returns (uint256 asset, bytes32 lease) {
        asset = registerMachine(provider, units);
        uint256 id = open(asset, access.currentWindow(), price);
        if (price == 0) grant(id, developer, amount);
        else buy(id, developer, amount);
        lease = redeem(developer, id, amount);
    }
}

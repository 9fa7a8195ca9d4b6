// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

import {Members} from "../src/Members.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IQuorum} from "../src/interfaces/IQuorum.sol";
import {Signature, ZeroAddress} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";

/// An attester that is a contract: what its owner signs, it signs (ERC-1271).
contract AttesterContract is IERC1271 {
    address private immutable owner;

    constructor(address owner_) {
        owner = owner_;
    }

    function isValidSignature(bytes32 hash, bytes calldata s) external view returns (bytes4) {
        address signer = ecrecover(hash, uint8(s[64]), bytes32(s[:32]), bytes32(s[32:64]));
        return signer == owner ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}

/// forge-config: default.fuzz.runs = 200
contract AdmitTest is Base {
    function testAdmit(address account, bytes32 nullifier, uint48 until) public {
        vm.assume(account != address(0) && !isMember(account));
        until = uint48(bound(until, START + 1, type(uint48).max));
        IMembers.Admission memory a = IMembers.Admission(account, nullifier, until, DEADLINE);
        Signature[] memory quorum = attested(hashOf(a));

        vm.expectEmit(address(members));
        emit IMembers.Admitted(account, nullifier, START, until);
        vm.prank(relayer);
        members.admit(a, quorum);

        (address controller, uint48 since, uint48 stored) = members.memberOf(account);
        assertEq(controller, address(0));
        assertEq(since, START);
        assertEq(stored, until);
        assertEq(members.rootOf(account), account);
        assertTrue(members.isActive(account));
        assertTrue(members.nullifierUsed(nullifier));
        vm.warp(until);
        assertFalse(members.isActive(account), "active in the second in which it lapses");
    }

    function testAdmitOnMoreSignaturesThanNeeded(address account) public {
        vm.assume(account != address(0) && !isMember(account));
        IMembers.Admission memory a = _admission(account, "all");

        members.admit(a, sign(attesterKeys, typed(membersDomain(), hashOf(a))));

        assertTrue(members.isActive(account));
    }

    function testAdmitZeroMember(bytes32 nullifier) public {
        IMembers.Admission memory a = IMembers.Admission(address(0), nullifier, UNTIL, DEADLINE);
        _refuse(a, attested(hashOf(a)), abi.encodeWithSelector(IMembers.ZeroMember.selector));
    }

    function testAdmitTwice(bytes32 nullifier, uint48 until) public {
        IMembers.Admission memory a = IMembers.Admission(provider, nullifier, until, DEADLINE);
        _refuse(a, attested(hashOf(a)), abi.encodeWithSelector(IMembers.AlreadyMember.selector, provider));
    }

    function testAdmitUsedNullifier(address account) public {
        vm.assume(account != address(0) && account != stranger && !isMember(account));
        IMembers.Admission memory first = _admission(stranger, "one identity");
        members.admit(first, attested(hashOf(first)));

        IMembers.Admission memory a = _admission(account, "one identity");
        _refuse(a, attested(hashOf(a)), abi.encodeWithSelector(IMembers.NullifierUsed.selector, a.nullifier));
    }

    function testAdmitUntilPast(uint48 until) public {
        until = uint48(bound(until, 0, START));
        IMembers.Admission memory a = IMembers.Admission(stranger, "identity", until, DEADLINE);
        _refuse(a, attested(hashOf(a)), abi.encodeWithSelector(IMembers.UntilNotLater.selector, until, START));
    }

    function testAdmitAfterDeadline(uint48 deadline, uint48 late) public {
        deadline = uint48(bound(deadline, START, UNTIL - 2));
        late = uint48(bound(late, uint256(deadline) + 1, UNTIL - 1));
        IMembers.Admission memory a = IMembers.Admission(stranger, "identity", UNTIL, deadline);
        Signature[] memory quorum = attested(hashOf(a));

        vm.warp(late);
        _refuse(a, quorum, abi.encodeWithSelector(IQuorum.DeadlinePassed.selector, deadline, late));
        vm.warp(deadline);
        members.admit(a, quorum);
    }

    /// A quorum cannot flood the ledger in one day, and has its full number again on the next.
    function testAdmitNoMoreThanTheDayAllows() public {
        uint256 day = START / 1 days;
        for (uint160 i = 3; i < ADMISSIONS; ++i) {
            admit(address(0x10000 + i));
        }
        IMembers.Admission memory a = _admission(stranger, "late");
        Signature[] memory quorum = attested(hashOf(a));

        vm.warp((day + 1) * 1 days - 1);
        _refuse(a, quorum, abi.encodeWithSelector(IMembers.TooManyAdmissions.selector, day, ADMISSIONS));
        vm.warp((day + 1) * 1 days);
        members.admit(a, quorum);
    }

    /* QUORUM */

    function testAdmitQuorumTooSmall() public {
        IMembers.Admission memory a = _admission(stranger, "identity");
        Signature[] memory quorum = sign(_first(attesterKeys, 1), typed(membersDomain(), hashOf(a)));
        _refuse(a, quorum, abi.encodeWithSelector(IQuorum.QuorumTooSmall.selector, 1, THRESHOLD));
        _refuse(a, new Signature[](0), abi.encodeWithSelector(IQuorum.QuorumTooSmall.selector, 0, THRESHOLD));
    }

    function testAdmitSignerCountedTwice() public {
        IMembers.Admission memory a = _admission(stranger, "identity");
        Signature[] memory quorum = attested(hashOf(a));
        quorum[1] = quorum[0];
        address signer = quorum[0].signer;
        _refuse(a, quorum, abi.encodeWithSelector(IQuorum.SignersNotAscending.selector, signer, signer));
    }

    function testAdmitSignersDescending() public {
        IMembers.Admission memory a = _admission(stranger, "identity");
        Signature[] memory quorum = attested(hashOf(a));
        (quorum[0], quorum[1]) = (quorum[1], quorum[0]);
        _refuse(
            a, quorum, abi.encodeWithSelector(IQuorum.SignersNotAscending.selector, quorum[0].signer, quorum[1].signer)
        );
    }

    /// ERC-3643 issue 101: a signature that is good for a signer of the sender's choice is no signature of the quorum.
    function testAdmitSignerNotInQuorum(uint256 key) public {
        key = bound(key, 1, SECP256K1_N - 1);
        vm.assume(!members.isAttester(vm.addr(key)));
        IMembers.Admission memory a = _admission(stranger, "identity");
        uint256[] memory keys = new uint256[](2);
        (keys[0], keys[1]) = (key, attesterKeys[2]);
        if (vm.addr(key) > vm.addr(attesterKeys[2])) (keys[0], keys[1]) = (attesterKeys[0], key);

        Signature[] memory quorum = sign(keys, typed(membersDomain(), hashOf(a)));
        _refuse(a, quorum, abi.encodeWithSelector(IQuorum.NotInQuorum.selector, vm.addr(key)));
    }

    function testAdmitAnotherStatementThanSigned(address account, uint48 until) public {
        vm.assume(account != stranger && account != address(0) && !isMember(account));
        IMembers.Admission memory a = _admission(stranger, "identity");
        Signature[] memory quorum = attested(hashOf(a));
        bytes memory bad = abi.encodeWithSelector(IQuorum.BadSignature.selector, quorum[0].signer);

        a.member = account;
        _refuse(a, quorum, bad);
        a.member = stranger;
        a.until = uint48(bound(until, START + 1, UNTIL - 1));
        _refuse(a, quorum, bad);
    }

    /// Signed for another chain, for another contract, or for another purpose of the same contract.
    function testAdmitStatementOfAnotherDomain(uint64 chainId, address verifier) public {
        vm.assume(chainId != block.chainid && verifier != address(members));
        IMembers.Admission memory a = _admission(stranger, "identity");
        uint256[] memory keys = _first(attesterKeys, THRESHOLD);
        bytes memory bad = abi.encodeWithSelector(IQuorum.BadSignature.selector, vm.addr(keys[0]));
        string memory name = "Commonhold Members";

        _refuse(a, sign(keys, typed(domainOf(name, chainId, address(members)), hashOf(a))), bad);
        _refuse(a, sign(keys, typed(domainOf(name, block.chainid, verifier), hashOf(a))), bad);
        _refuse(a, sign(keys, typed(domainOf("Commonhold Ledger", block.chainid, address(members)), hashOf(a))), bad);
        _refuse(a, sign(keys, typed(membersDomain(), hashOf(IMembers.Renewal(stranger, UNTIL, DEADLINE)))), bad);
    }

    function testAdmitReplayOnAFork(uint64 chainId) public {
        vm.assume(chainId != block.chainid && chainId != 0);
        IMembers.Admission memory a = _admission(stranger, "identity");
        Signature[] memory quorum = attested(hashOf(a));

        vm.chainId(chainId);
        _refuse(a, quorum, abi.encodeWithSelector(IQuorum.BadSignature.selector, quorum[0].signer));
    }

    function testAdmitOnTheWordOfAContract() public {
        address[] memory attesters = new address[](1);
        attesters[0] = address(new AttesterContract(vm.addr(attesterKeys[0])));
        members = new Members(attesters, 1, 1, address(ledger), address(access));
        IMembers.Admission memory a = _admission(stranger, "identity");
        Signature[] memory quorum = new Signature[](1);
        quorum[0] = Signature(attesters[0], sign(attesterKeys[1], typed(membersDomain(), hashOf(a))));

        _refuse(a, quorum, abi.encodeWithSelector(IQuorum.BadSignature.selector, attesters[0]));
        quorum[0].signature = sign(attesterKeys[0], typed(membersDomain(), hashOf(a)));
        members.admit(a, quorum);

        assertTrue(members.isActive(stranger));
    }

    /* CONSTRUCTOR */

    function testConstructorBadThreshold(uint256 threshold) public {
        address[] memory attesters = addressesOf(attesterKeys);
        if (threshold > 0 && threshold <= 3) threshold = 4;
        vm.expectRevert(abi.encodeWithSelector(IQuorum.BadThreshold.selector, threshold, 3));
        new Members(attesters, threshold, 1, address(1), address(1));
    }

    function testConstructorBadSigner() public {
        address[] memory attesters = addressesOf(attesterKeys);
        attesters[2] = attesters[0];
        vm.expectRevert(abi.encodeWithSelector(IQuorum.BadSigner.selector, attesters[0]));
        new Members(attesters, 1, 1, address(1), address(1));
        attesters[2] = address(0);
        vm.expectRevert(abi.encodeWithSelector(IQuorum.BadSigner.selector, address(0)));
        new Members(attesters, 1, 1, address(1), address(1));
    }

    function testConstructorZeroAddress() public {
        address[] memory attesters = addressesOf(attesterKeys);
        vm.expectRevert(ZeroAddress.selector);
        new Members(attesters, 1, 1, address(0), address(1));
        vm.expectRevert(ZeroAddress.selector);
        new Members(attesters, 1, 1, address(1), address(0));
    }

    function _admission(address account, bytes32 nullifier) private pure returns (IMembers.Admission memory) {
        return IMembers.Admission(account, nullifier, UNTIL, DEADLINE);
    }

    function _refuse(IMembers.Admission memory a, Signature[] memory quorum, bytes memory reason) private {
        vm.expectRevert(reason);
        members.admit(a, quorum);
    }
}
